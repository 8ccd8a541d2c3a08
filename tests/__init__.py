"""Tests of the plugin against real and misbehaving servers."""
