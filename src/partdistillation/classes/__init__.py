"""Which object classes: what names mean in WordNet, class lists, the paper's choice of classes."""
