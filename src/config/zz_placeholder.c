extern int weir_placeholder_config; int weir_placeholder_config;
