"""The application object and the sending side: route, encode, publish."""
