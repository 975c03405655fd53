"""Finds posts again: an index of what a crawl stored, kept by one of three engines that answer alike."""
