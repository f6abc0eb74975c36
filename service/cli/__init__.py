"""``python -m service predict``: the digits in files, as a service that runs says, or where none does this process.

In this process the application is asked as it would be over a socket, so that there is one protocol. What answers is
imported only then: to ask a service takes neither FastAPI nor onnxruntime.
"""
