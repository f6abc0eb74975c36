"""What a request asks for, decided and computed; knows nothing of HTTP."""
