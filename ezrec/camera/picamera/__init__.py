"""The port `Camera` over a Raspberry Pi camera module and picamera2, versions 0.3.17 to 0.3.38."""
