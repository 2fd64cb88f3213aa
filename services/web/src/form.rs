//! `a=b&c=d`: query strings, form bodies, and URLs that hold a view.

use vakt_wire::form;
use vakt_wire::http::{BodyError, Request, read};

/// Bytes of a form: a sign-in, never an upload.
const FORM_BYTES_MAX: usize = 16 << 10;

/// Decoded fields in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Decodes `a=b&c=d`; `+` is a space, `%XX` a byte, what is not UTF-8 becomes U+FFFD.
    pub fn parse(text: &str) -> Form {
        Form(form::pairs(text))
    }

    /// The query of a request.
    pub fn query(request: &Request) -> Form {
        Form::parse(request.uri().query().unwrap_or_default())
    }

    /// The body of a request.
    ///
    /// # Errors
    /// More than 16 KiB, or a body that broke off.
    pub async fn body(request: Request) -> Result<Form, BodyError> {
        let bytes = read(request.body, FORM_BYTES_MAX).await?;
        Ok(Form::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// The first field of that name, or the empty text.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

/// Percent-encodes all but letters, digits and `-_.~` (RFC 3986's unreserved).
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// `path?a=b&c=d`, without fields whose value is empty.
pub fn url(path: &str, fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    let query: Vec<_> = fields.map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_a_url_holds_is_read_back(value in ".{1,40}") {
            let made = url("/logs", &[("q", &value), ("empty", "")]);
            let (_, query) = made.split_once('?').unwrap();
            let form = Form::parse(query);
            prop_assert_eq!(form.get("q"), value);
        }
    }

    #[test]
    fn forms_are_decoded() {
        let form = Form::parse("user=a%20b+c&x&user=second");
        assert_eq!((form.get("user"), form.get("x"), form.get("none")), ("a b c", "", ""));
        assert_eq!(url("/", &[]), "/");
    }
}
