//! Errors, with the codes that SQS's clients expect.

/// The error of one request, or of one entry of a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqsError {
    /// No queue has this name.
    #[error("The specified queue does not exist.")]
    QueueDoesNotExist,
    /// A queue of this name exists with other attributes.
    #[error("A queue already exists with the same name and a different value for attribute {0}")]
    QueueNameExists(String),
    /// The text is not a receipt handle of this queue.
    #[error("The input receipt handle \"{0}\" is not a valid receipt handle.")]
    ReceiptHandleIsInvalid(String),
    /// The message has been received again, or its visibility timeout has passed.
    #[error(
        "Value {0} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
    )]
    ReceiptHandleExpired(String),
    /// The message is not in flight, so its visibility cannot be changed.
    #[error("The specified message isn't in flight.")]
    MessageNotInflight,
    /// The value of a parameter is not allowed; the text is the reason.
    #[error("{0}")]
    InvalidParameterValue(String),
    /// A required parameter is absent.
    #[error("The request must contain the parameter {0}.")]
    MissingParameter(&'static str),
    /// No queue attribute has this name, or it cannot be set.
    #[error("Unknown Attribute {0}.")]
    InvalidAttributeName(String),
    /// The value of this queue attribute is not allowed.
    #[error("Invalid value for the parameter {0}.")]
    InvalidAttributeValue(String),
    /// The body contains characters that XML 1.0 does not allow.
    #[error("Invalid characters found in the message body.")]
    InvalidMessageContents,
    /// Two entries of a batch have the same id.
    #[error("Id {0} repeated.")]
    BatchEntryIdsNotDistinct(String),
    /// The bodies and attributes of a batch exceed the limit of one request; their size in bytes.
    #[error("Batch requests cannot be longer than 1048576 bytes. You have sent {0} bytes.")]
    BatchRequestTooLong(usize),
    /// A batch has no entries.
    #[error("There should be at least one entry in the request.")]
    EmptyBatchRequest,
    /// An entry's id is empty, longer than 80 characters, or has a character other than letters,
    /// digits, `-` and `_`.
    #[error(
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. \
         It can be at most 80 letters long."
    )]
    InvalidBatchEntryId,
    /// A batch has more than ten entries.
    #[error("Maximum number of entries per request are 10. You have sent {0}.")]
    TooManyEntriesInBatchRequest(usize),
    /// The action, or the kind of queue, is not supported.
    #[error("{0}")]
    UnsupportedOperation(String),
    /// The database failed. The request had no effect.
    #[error("SQLite failed")]
    Storage(#[from] rusqlite::Error),
    /// A stored value cannot be decoded.
    #[error("a stored value cannot be decoded")]
    Stored(#[from] serde_json::Error),
}

impl SqsError {
    /// Returns the name of the error's shape, as in the JSON protocol's `__type`.
    #[must_use]
    pub fn shape(&self) -> &'static str {
        match self {
            Self::QueueDoesNotExist => "com.amazonaws.sqs#QueueDoesNotExist",
            Self::QueueNameExists(_) => "com.amazonaws.sqs#QueueNameExists",
            Self::ReceiptHandleIsInvalid(_) => "com.amazonaws.sqs#ReceiptHandleIsInvalid",
            Self::MessageNotInflight => "com.amazonaws.sqs#MessageNotInflight",
            Self::ReceiptHandleExpired(_) | Self::InvalidParameterValue(_) => {
                "com.amazon.coral.service#InvalidParameterValueException"
            }
            Self::MissingParameter(_) => {
                "com.amazon.coral.service#MissingRequiredParameterException"
            }
            Self::InvalidAttributeName(_) => "com.amazonaws.sqs#InvalidAttributeName",
            Self::InvalidAttributeValue(_) => "com.amazonaws.sqs#InvalidAttributeValue",
            Self::InvalidMessageContents => "com.amazonaws.sqs#InvalidMessageContents",
            Self::BatchEntryIdsNotDistinct(_) => "com.amazonaws.sqs#BatchEntryIdsNotDistinct",
            Self::BatchRequestTooLong(_) => "com.amazonaws.sqs#BatchRequestTooLong",
            Self::EmptyBatchRequest => "com.amazonaws.sqs#EmptyBatchRequest",
            Self::InvalidBatchEntryId => "com.amazonaws.sqs#InvalidBatchEntryId",
            Self::TooManyEntriesInBatchRequest(_) => {
                "com.amazonaws.sqs#TooManyEntriesInBatchRequest"
            }
            Self::UnsupportedOperation(_) => "com.amazonaws.sqs#UnsupportedOperation",
            Self::Storage(_) | Self::Stored(_) => "com.amazon.coral.service#InternalFailure",
        }
    }

    /// Returns the code of the older query protocol. SDKs read it from the header
    /// `x-amzn-query-error`, and a failed entry of a batch carries it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::QueueDoesNotExist => "AWS.SimpleQueueService.NonExistentQueue",
            Self::QueueNameExists(_) => "QueueAlreadyExists",
            Self::ReceiptHandleIsInvalid(_) => "ReceiptHandleIsInvalid",
            Self::MessageNotInflight => "AWS.SimpleQueueService.MessageNotInflight",
            Self::ReceiptHandleExpired(_) | Self::InvalidParameterValue(_) => {
                "InvalidParameterValue"
            }
            Self::MissingParameter(_) => "MissingParameter",
            Self::InvalidAttributeName(_) => "InvalidAttributeName",
            Self::InvalidAttributeValue(_) => "InvalidAttributeValue",
            Self::InvalidMessageContents => "InvalidMessageContents",
            Self::BatchEntryIdsNotDistinct(_) => "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            Self::BatchRequestTooLong(_) => "AWS.SimpleQueueService.BatchRequestTooLong",
            Self::EmptyBatchRequest => "AWS.SimpleQueueService.EmptyBatchRequest",
            Self::InvalidBatchEntryId => "AWS.SimpleQueueService.InvalidBatchEntryId",
            Self::TooManyEntriesInBatchRequest(_) => {
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"
            }
            Self::UnsupportedOperation(_) => "AWS.SimpleQueueService.UnsupportedOperation",
            Self::Storage(_) | Self::Stored(_) => "InternalFailure",
        }
    }

    /// Returns whether the sender is at fault (HTTP 400) and not the server (HTTP 500, which SDKs
    /// retry).
    #[must_use]
    pub fn is_sender_fault(&self) -> bool {
        !matches!(self, Self::Storage(_) | Self::Stored(_))
    }
}
