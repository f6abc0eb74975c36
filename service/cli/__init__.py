"""``python -m service predict`` prints the digits in files. A running service answers, or this process if none runs.

Within this process, the command sends the application the same requests as over a socket, so there is one protocol. The
application is imported only in this case: the command asks a running service without FastAPI and onnxruntime.
"""
