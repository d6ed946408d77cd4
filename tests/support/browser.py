"""How the tests start their browser."""

# Nothing that Chromium does on its own account: no updates, no look-ups.
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
