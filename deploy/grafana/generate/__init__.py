"""Grafana dashboards as typed Python; `python -m deploy.grafana.generate` writes them as JSON.

No other package of the project imports grafana-foundation-sdk.
"""
