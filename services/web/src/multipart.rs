//! An upload as a browser sends it (RFC 7578): our form's token first, the file behind it as a stream.
//!
//! Only the beginning is read here. What follows the file's bytes, the closing boundary, goes along with them:
//! an archive knows its own end.

/// Bytes up to the file's first one: two part headers and a token.
pub const HEAD_BYTES_MAX: usize = 8 << 10;

/// The beginning of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The form's token.
    pub token: String,
    /// Where the file begins.
    pub file_at: usize,
}

/// What is no upload from our form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an upload from our form")]
pub struct NotAnUpload;

/// The boundary that a `Content-Type` names, or `None` when it is of no upload.
pub fn boundary(content_type: &str) -> Option<&str> {
    let parameters = content_type.strip_prefix("multipart/form-data;")?;
    let found = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("boundary="))?;
    let plain = found.trim_matches('"');
    (1..=70).contains(&plain.len()).then_some(plain)
}

/// Reads the beginning in `bytes`: `Ok(None)` when more of it is needed.
///
/// # Errors
/// When this is not an upload from our form.
pub fn head(bytes: &[u8], boundary: &str) -> Result<Option<Head>, NotAnUpload> {
    let mut at = 0;
    let mut token = None;
    let line = format!("--{boundary}\r\n");
    loop {
        let rest = &bytes[at..];
        let seen = rest.len().min(line.len());
        if rest[..seen] != line.as_bytes()[..seen] {
            return Err(NotAnUpload);
        }
        let Some(end) = find(rest, b"\r\n\r\n") else {
            return if bytes.len() < HEAD_BYTES_MAX { Ok(None) } else { Err(NotAnUpload) };
        };
        let headers = String::from_utf8_lossy(&rest[line.len().min(end)..end]).to_ascii_lowercase();
        let contents_at = at + end + 4;
        if headers.contains("name=\"archive\"") {
            let token = token.ok_or(NotAnUpload)?;
            return Ok(Some(Head { token, file_at: contents_at }));
        }
        if !headers.contains("name=\"form_token\"") {
            return Err(NotAnUpload);
        }
        let Some(length) = find(&bytes[contents_at..], b"\r\n") else {
            return if bytes.len() < HEAD_BYTES_MAX { Ok(None) } else { Err(NotAnUpload) };
        };
        let value = &bytes[contents_at..contents_at + length];
        token = Some(String::from_utf8_lossy(value).into_owned());
        at = contents_at + length + 2;
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The contents of the part of this name, in an upload that is all there.
pub fn part<'a>(body: &'a [u8], boundary: &str, name: &str) -> Option<&'a [u8]> {
    let mark = format!("--{boundary}\r\n");
    let end = format!("\r\n--{boundary}");
    let mut rest = body;
    loop {
        rest = &rest[find(rest, mark.as_bytes())? + mark.len()..];
        let head = find(rest, b"\r\n\r\n").filter(|head| *head < HEAD_BYTES_MAX)?;
        let headers = String::from_utf8_lossy(&rest[..head]).to_ascii_lowercase();
        let contents = &rest[head + 4..];
        let length = find(contents, end.as_bytes())?;
        if headers.contains(&format!(" name=\"{name}\"")) {
            return Some(&contents[..length]);
        }
        // Back before the line end, where the next mark begins.
        rest = &contents[length + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPLOAD: &[u8] = b"--xYz\r\nContent-Disposition: form-data; name=\"form_token\"\r\n\r\nabc123\r\n\
        --xYz\r\nContent-Disposition: form-data; name=\"archive\"; filename=\"u.tar\"\r\n\
        Content-Type: application/x-tar\r\n\r\nFILE\r\n--xYz--\r\n";

    #[test]
    fn the_file_begins_behind_token_and_headers_however_the_bytes_arrive() {
        let file_at = find(UPLOAD, b"FILE").unwrap();
        let expected = Head { token: "abc123".into(), file_at };
        for length in 0..UPLOAD.len() {
            let read = head(&UPLOAD[..length], "xYz").unwrap();
            assert_eq!(read, (length >= file_at).then(|| expected.clone()), "{length} bytes");
        }
    }

    #[test]
    fn parts_are_found_by_name_whatever_is_in_them() {
        let body = b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B\r\nContent-Disposition: form-data; name=\"archive\"; filename=\"x\"\r\n\r\n\x00\r\n--A\r\n--B--\r\n";
        assert_eq!(part(body, "B", "a"), Some(b"1".as_slice()));
        assert_eq!(part(body, "B", "archive"), Some(b"\x00\r\n--A".as_slice()));
        assert_eq!(part(body, "B", "b"), None);
        for cut in 0..body.len() {
            part(&body[..cut], "B", "archive");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        assert_eq!(head(UPLOAD, "other"), Err(NotAnUpload));
        let text = String::from_utf8_lossy(UPLOAD).replace("form_token", "user");
        assert_eq!(head(text.as_bytes(), "xYz"), Err(NotAnUpload));
        let (_, second) = UPLOAD
            .split_at(find(UPLOAD, b"--xYz\r\nContent-Disposition: form-data; name=\"archive\"").unwrap());
        assert_eq!(head(second, "xYz"), Err(NotAnUpload), "a file without a token");
        let endless = [b"--xYz\r\nContent-Disposition: ".as_slice(), &[b'a'; HEAD_BYTES_MAX]].concat();
        assert_eq!(head(&endless, "xYz"), Err(NotAnUpload));
    }

    #[test]
    fn the_boundary_is_found() {
        assert_eq!(boundary("multipart/form-data; boundary=----WebKit7"), Some("----WebKit7"));
        assert_eq!(boundary("multipart/form-data; charset=utf-8; boundary=\"a b\""), Some("a b"));
        assert_eq!(boundary("application/x-www-form-urlencoded"), None);
        assert_eq!(boundary("multipart/form-data; boundary="), None);
    }
}
