//! The dashboard: one page that shows `GET /api/status` and asks for changes as anybody else does.
//!
//! The page is put together from its parts at compile time and needs nothing but the API: no other file, no
//! other host, no step before it is served. Its policy lets the browser run exactly this script and this style, by
//! their hashes, speak to exactly this server, and read no string as HTML or script (`require-trusted-types-for`): a
//! name that a client or an operator chose can be shown and nothing more. A nonce would do the same only if each
//! answer had another; hashes keep the answer the same bytes for everybody.
//!
//! `/` needs no token, because nothing is in the page that is not in the source; what it reads and asks for does.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// The page, in UTF-8.
#[must_use]
pub fn html() -> &'static str {
    HTML
}

/// The value of `Content-Security-Policy` that has to come with it.
#[must_use]
pub fn content_security_policy() -> &'static str {
    &POLICY
}

/// In the order of use: what is below may name what is above at once, the other way round only when it runs.
macro_rules! script {
    () => {
        concat!(
            include_str!("page/js/format.js"),
            include_str!("page/js/dom.js"),
            include_str!("page/js/latency.js"),
            include_str!("page/js/model.js"),
            include_str!("page/js/api.js"),
            include_str!("page/js/dialogs.js"),
            include_str!("page/js/charts.js"),
            include_str!("page/js/heat.js"),
            include_str!("page/js/pools.js"),
            include_str!("page/js/overview.js"),
            include_str!("page/js/events.js"),
            include_str!("page/js/sessions.js"),
            include_str!("page/js/main.js"),
        )
    };
}

macro_rules! style {
    () => {
        concat!(include_str!("page/css/base.css"), include_str!("page/css/parts.css"))
    };
}

const HTML: &str = concat!(
    include_str!("page/head.html"),
    "<style>",
    style!(),
    "</style>\n",
    include_str!("page/body.html"),
    "<script type=\"module\">",
    script!(),
    "</script>\n</body>\n</html>\n",
);

static POLICY: LazyLock<String> = LazyLock::new(|| {
    // `data:` is the icon of the tab.
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        hash(script!()),
        hash(style!()),
    )
});

/// As a policy names what it allows.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let namespaces = ["http://www.w3.org/2000/svg"];
        let page = namespaces.iter().fold(html().to_owned(), |page, name| page.replace(name, ""));
        for word in ["http:", "https:", "src=", "@import", "url(", "import("] {
            let at = page.find(word).map(|at| page[at..].chars().take(60).collect::<String>());
            assert_eq!(at, None, "`{word}` leads out of the page");
        }
    }

    #[test]
    fn what_comes_from_outside_is_never_read_as_html() {
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ] {
            assert!(!html().contains(word), "{word} reads a string as HTML or script");
        }
    }

    #[test]
    fn each_of_script_and_style_is_there_once_and_is_what_the_policy_hashes() {
        for (open, close, text) in [
            ("<script type=\"module\">", "</script>", script!()),
            ("<style>", "</style>", style!()),
        ] {
            let (_, after) = html().split_once(open).expect("it is opened");
            let (inside, rest) = after.split_once(close).expect("it is closed");
            assert!(inside == text, "{open} holds something else");
            assert!(!rest.contains(open), "{open} is there twice");
            assert!(content_security_policy().contains(&hash(inside)));
        }
    }

    #[test]
    fn a_policy_fits_into_a_header() {
        let policy = content_security_policy();
        assert!(policy.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{policy}");
        // What a shell makes of three bytes: printf abc | openssl dgst -sha256 -binary | base64
        assert_eq!(hash("abc"), "'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='");
    }
}
