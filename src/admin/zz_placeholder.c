extern int weir_placeholder_admin; int weir_placeholder_admin;
