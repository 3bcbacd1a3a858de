//! Everything that needs more than one crate, in one binary.
//!
//! Journeys start the real binary on a database of their own and speak to it over HTTP; what
//! stands around it (mail, models, other systems) are the doubles of `testkit`. See `support`.

mod bad_input;
mod ctk;
mod documents;
mod fleet;
mod hostile;
mod journey_agents;
mod journey_analytics;
mod journey_audit;
mod journey_children;
mod journey_events;
mod journey_executions;
mod journey_integrations;
mod journey_log;
mod journey_logins;
mod journey_notifications;
mod journey_replay;
mod journey_starts;
mod journey_subjects;
mod journey_subscriptions;
mod journey_webhooks;
mod journey_workflows;
mod kill;
mod layers;
mod openapi;
mod ows_schema;
mod pages;
mod rebuild_under_load;
mod replay;
mod rolling;
mod scenarios;
mod support;
