//! The promises of SQS FIFO queues, as scenarios over the AWS SDK's client.

#[cfg(test)]
mod messages;
#[cfg(test)]
mod queues;
#[cfg(test)]
mod subject;
