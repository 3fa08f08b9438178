"""The stage ``train``: a decoder learns on cached features."""
