"""Shadow evaluation: answers are compared with those of another deployment to the same prompts, after they went out."""
