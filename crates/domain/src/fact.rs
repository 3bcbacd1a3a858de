//! Every event of every aggregate, as one type.

use crate::{
    agent, api_key, execution, integration, invocation, notification, payload, prompt, subject,
    template, webhook, workflow,
};

/// What the log speaks about; projections and policies match on it.
///
/// A new aggregate adds one variant here, and the compiler then names every place to visit.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// Something happened to an agent.
    Agent(agent::Event),
    /// Something happened to an API key.
    ApiKey(api_key::Event),
    /// Something happened to an execution.
    Execution(execution::Event),
    /// Something happened to an integration.
    Integration(integration::Event),
    /// Something happened to an invocation.
    Invocation(invocation::Event),
    /// Something happened to a notification.
    Notification(notification::Event),
    /// A large value was kept.
    Payload(payload::Event),
    /// Something happened to a prompt.
    Prompt(prompt::Event),
    /// Something happened to a subject.
    Subject(subject::Event),
    /// Something happened to a notification template.
    Template(template::Event),
    /// Something happened to a webhook delivery.
    Webhook(webhook::Event),
    /// Something happened to a workflow.
    Workflow(workflow::Event),
}
