"""The link to Redis or Valkey, and the server that a host without one starts itself."""
