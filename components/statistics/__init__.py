"""The examples and folds tables -> exact pooled pixel statistics."""
