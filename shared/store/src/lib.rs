//! DynamoDB as verbs: every expression string of the system is here.
