"""How a run happens. Engines know the ports of `stores.base`, emit `events`, and return values; they print nothing."""
