"""llama.cpp as an engine; native.py is the one room where its internals are touched."""
