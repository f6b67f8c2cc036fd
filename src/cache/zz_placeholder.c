extern int weir_placeholder_cache; int weir_placeholder_cache;
