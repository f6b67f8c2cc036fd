extern int weir_placeholder_cli; int weir_placeholder_cli;
