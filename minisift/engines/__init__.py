"""What runs a model: transformers, llama.cpp. They keep the protocol of decoding.protocols."""
