//! Whether equals are compared: what each contender was seen to do, beside what it was told.

use serde::{Deserialize, Serialize};

/// What was seen of a contender while it carried connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Who.
    pub(crate) contender: String,
}
