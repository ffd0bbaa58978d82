//! The file of bearer tokens: a token a line.

use super::ConfigError;

/// A shorter one is guessed: 16 characters of base64 have 96 bits.
const MIN_LENGTH: usize = 16;

/// More is no token, but a file that was named by mistake.
const MAX_LENGTH: usize = 4096;

/// Tokens of one file; each is compared with each request.
const MAX_TOKENS: usize = 256;

/// The tokens of `text`, all of the file. Empty lines, and those that begin with `#`, are no tokens.
///
/// `file` is only for the messages, which never hold a token. On failure every error is in the list.
pub fn parse<'t>(text: &'t str, file: &str) -> Result<Vec<&'t str>, Vec<ConfigError>> {
    let error = |line: usize, message: String| ConfigError { file: file.to_owned(), line, column: 1, message };
    let (mut tokens, mut errors) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let token = line.trim();
        if token.is_empty() || token.starts_with('#') {
            continue;
        }
        match check(token) {
            Ok(()) => tokens.push(token),
            Err(message) => errors.push(error(index + 1, message)),
        }
    }
    if tokens.len() > MAX_TOKENS {
        errors.push(error(1, format!("there are {} tokens; {MAX_TOKENS} are possible", tokens.len())));
    }
    if tokens.is_empty() && errors.is_empty() {
        errors
            .push(error(1, "there is no token; write one in a line, such as `openssl rand -hex 32` makes".to_owned()));
    }
    if errors.is_empty() { Ok(tokens) } else { Err(errors) }
}

/// What can stand in the header `Authorization` (RFC 6750, 2.1: `b64token`).
fn check(token: &str) -> Result<(), String> {
    let body = token.trim_end_matches('=');
    let right = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if body.is_empty() || !body.bytes().all(right) {
        return Err("this is no token: letters, digits, `-._~+/`, and `=` at the end".to_owned());
    }
    if !(MIN_LENGTH..=MAX_LENGTH).contains(&token.len()) {
        return Err(format!("a token has {MIN_LENGTH} to {MAX_LENGTH} characters; this one has {}", token.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_token_and_what_is_wrong_is_not_shown() {
        assert_eq!(
            parse("# of Prometheus\n\n 0123456789abcdef== \r\nABCDEFGHIJ-._~+/xyz", "t"),
            Ok(vec!["0123456789abcdef==", "ABCDEFGHIJ-._~+/xyz"])
        );
        let many = "0123456789abcdef\n".repeat(257);
        for (text, told) in [
            ("", "t:1:1: there is no token"),
            ("# none\n", "t:1:1: there is no token"),
            ("\nshort", "t:2:1: a token has 16 to 4096 characters; this one has 5"),
            ("two words of a token", "t:1:1: this is no token"),
            ("================", "t:1:1: this is no token"),
            (&many, "there are 257 tokens"),
        ] {
            let errors = parse(text, "t").unwrap_err();
            let message = errors[0].to_string();
            assert!(message.contains(told) && !message.contains("short"), "{text}: {message}");
        }
    }
}
