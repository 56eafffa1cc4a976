"""What looks at the whole box for a person: the doctor, the camera test, the demonstration."""
