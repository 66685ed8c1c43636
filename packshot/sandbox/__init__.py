"""Try and test everything without a key: an APIYI emulator and an embedded S3 server."""
