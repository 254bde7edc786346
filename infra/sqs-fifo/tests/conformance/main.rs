//! The promises of SQS's queues, as scenarios over the AWS SDK's client.

#[cfg(test)]
mod messages;
#[cfg(test)]
mod queues;
#[cfg(test)]
mod standard;
#[cfg(test)]
mod subject;
