use super::Plan;

/// What one may ask of a workflow.
#[derive(Debug, Clone)]
pub enum Command {
    /// Publish a version.
    Publish {
        /// Whether the workflow must be new; otherwise it must be there.
        create: bool,
        /// `document.namespace`.
        namespace: String,
        /// `document.name`.
        name: String,
        /// `document.version`.
        version: String,
        /// `document.title`.
        title: Option<String>,
        /// The author's text.
        document: String,
    },
    /// Take it away: nothing new starts, what runs goes on.
    Delete,
}

impl Command {
    /// Publishes a document that compiled to this plan.
    #[must_use]
    pub fn publish(create: bool, plan: &Plan, document: String) -> Self {
        Self::Publish {
            create,
            namespace: plan.namespace.clone(),
            name: plan.name.clone(),
            version: plan.version.clone(),
            title: plan.title.clone(),
            document,
        }
    }
}
