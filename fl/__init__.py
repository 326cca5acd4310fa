"""The learning: features, network, ServerApp, ClientApp and the processes that run them."""
