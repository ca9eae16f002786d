"""Install a model bundle on a station that nobody attends: stage, verify, try, commit or reject.

In: a folder, a tar archive or an HTTPS address. Out: the links `current` and `previous` to verified
bundles, switched atomically, and events that report each step.
Open `rollout` first, then `installed` (bundles on disk) and `trial`.
"""
