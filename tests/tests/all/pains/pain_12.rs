//! A folder's move or trash says nothing of what lies below it.
