"""Pure: when a request has waited long enough for its first content, and whether another deployment may be asked."""
