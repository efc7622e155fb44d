"""The connection to Redis or Valkey, and the embedded server for a host without one."""
