"""Train the network on the features that the station computes.

In: a campaign. Out: dataset.npz, network.npz, model.tflite, and a report of each step in the
run's folder.
Open `dataset` first, then `lstm` (the network), `train`, `batches` and `quantize`; `kinds` lists
the networks.
"""
