"""Shadow evaluation: after an answer went out, it is compared with another deployment's answer to the same prompt."""
