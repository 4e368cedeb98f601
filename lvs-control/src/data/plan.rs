//! What a rules file would change.

use serde::{Deserialize, Serialize};

/// What must be changed for a running director to become what a rules file says.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// The changes in the order in which they are made; empty if the file says what is there.
    pub steps: Vec<Step>,
    /// What is no mistake in the file, but hardly meant.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Whether it was carried out.
    pub applied: bool,
}

/// One change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What is done.
    pub kind: StepKind,
    /// To what, in words: `TCP 192.0.2.1:80`, `10.1.0.2:80 of TCP 192.0.2.1:80`.
    pub subject: String,
    /// From what to what; empty where there is nothing to say.
    #[serde(default)]
    pub detail: String,
    /// What becomes of connections and templates.
    #[serde(default)]
    pub affected: Affected,
}

/// What is done in a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum StepKind {
    AddService,
    ChangeService,
    RemoveService,
    AddServer,
    ChangeServer,
    RemoveServer,
    Timeouts,
    Sysctls,
    Marks,
    StartDaemon,
    ChangeDaemon,
    StopDaemon,
}

/// What becomes of live connections and templates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Affected {
    /// Connections whose packets have nowhere to go any more.
    pub connections_end: u32,
    /// Templates that end.
    pub templates_end: u32,
    /// Templates whose clients get another real server with their next connection.
    pub templates_move: u32,
}
