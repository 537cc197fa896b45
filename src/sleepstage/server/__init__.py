"""The live service: watches push, stages come back, a page shows the night."""
