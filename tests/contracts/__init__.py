"""What each port promises, run over the fake and over every real adapter."""
