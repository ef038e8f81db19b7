"""The review page: a person decides row by row what is done with suspected training rows."""
