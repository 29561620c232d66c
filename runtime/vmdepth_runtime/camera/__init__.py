"""The camera that frames come from."""
