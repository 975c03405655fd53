"""The engines that keep an index: Whoosh, tantivy, and search servers."""
