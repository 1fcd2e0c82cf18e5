//! Where an admin API is: what is written, and what it is called in messages.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where an admin API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A host, not resolved, without brackets.
    Tcp {
        /// An address or a name.
        host: String,
        /// Never 0.
        port: u16,
    },
}

impl Address {
    /// What the server is called in a request.
    #[must_use]
    pub fn host(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { .. } => self.to_string(),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            // What the server is told may stand here as well.
            let path = path.split_once(",mode=").map_or(path, |(path, _)| path);
            if path.is_empty() {
                return Err("there is no path after `unix:`".to_owned());
            }
            return Ok(Self::Unix(path.into()));
        }
        if text.starts_with(['/', '.']) {
            return Err(format!("write unix:{text} for a socket in the file system"));
        }
        let how = "write unix:PATH or HOST:PORT, as in 10.0.0.1:9000 or [fd00::1]:9000";
        let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("it has no port; {how}"))?;
        let port = port.parse().ok().filter(|&port| port > 0);
        let port = port.ok_or_else(|| format!("it has no port; {how}"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bare.unwrap_or(host) {
            "" => Err(format!("it has no host; {how}")),
            host if host.contains(':') != bare.is_some() => Err(how.to_owned()),
            host if host.contains(['/', '@', '?', '#', ' ']) => Err(how.to_owned()),
            host => Ok(Self::Tcp { host: host.to_owned(), port }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_as_they_are_written() {
        for text in ["unix:/run/evenkeel/admin.sock", "lb1:9000", "10.0.0.1:1", "[fd00::1]:9000"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
        let with_mode: Address =
            "unix:/run/a.sock,mode=0660".parse().expect("as the server has it");
        assert_eq!(with_mode, Address::Unix("/run/a.sock".into()));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_form_that_is() {
        for (text, says) in [
            ("/run/a.sock", "unix:/run/a.sock"),
            ("unix:", "no path"),
            ("lb1", "no port"),
            ("lb1:0", "no port"),
            ("lb1:http", "no port"),
            (":9000", "no host"),
            ("fd00::1:9000", "[fd00::1]:9000"),
            ("http://lb1:9000", "HOST:PORT"),
        ] {
            let why = text.parse::<Address>().expect_err(text);
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
