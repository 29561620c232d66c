"""Still pictures: their files, upright and in 8 bits, and grey ones of 16 that use a part of their range."""
