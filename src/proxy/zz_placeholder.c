extern int weir_placeholder_proxy; int weir_placeholder_proxy;
