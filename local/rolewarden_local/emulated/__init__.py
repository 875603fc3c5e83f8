"""What takes the place of an AWS service, or of a part of it that MiniStack and moto lack."""
