//! `/api/vakt/v1/sbom`: the bill of materials (CycloneDX, JSON) that lies in the verified root.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use tokio::io::AsyncReadExt;
use vakt_wire::http::{Response, error, full};

/// Where images carry it.
const FILE: &str = "/usr/share/vakt/sbom.cdx.json";

/// Bytes of it at most: twenty times what 400 components need. A longer one is refused, not cut.
const BYTES_MAX: u64 = 4 << 20;

/// CycloneDX' media type (ECMA-424, 9).
const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json; version=1.6";

/// The document; 404 where this program does not run from an image.
pub async fn answer() -> Response {
    let bytes = match read(FILE).await {
        Ok(bytes) => bytes,
        Err(reason) if reason.kind() == std::io::ErrorKind::NotFound => {
            return error(
                StatusCode::NOT_FOUND,
                "no bill of materials: this program does not run from an image",
            );
        }
        Err(reason) => return error(StatusCode::INTERNAL_SERVER_ERROR, format!("{FILE}: {reason}")),
    };
    let mut response = Response::new(full(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

async fn read(path: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    tokio::fs::File::open(path).await?.take(BYTES_MAX + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(std::io::Error::other(format!("longer than {BYTES_MAX} bytes")));
    }
    Ok(bytes)
}
